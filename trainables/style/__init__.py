"""Style transfer between two domains by AdaIN, for UDAPE.

Read ``style_net`` (encoder, decoder, their file), ``style_fit`` (their training on unlabelled
images), ``style_transfer`` (what training asks for).
"""
