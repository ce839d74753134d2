"""Style transfer between two domains by AdaIN, for UDAPE.

Read ``style_net`` (encoder, decoder, their file), ``style_fit`` (their training on unlabelled
images), ``style_transfer`` (restyles the images of a pose network's training).
"""
