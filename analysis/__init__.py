"""Tables and figures of studies: data frame in, table or figure out.

The notebooks here are executed and call the modules. Reads studies through ``harness.results``
alone.
"""
