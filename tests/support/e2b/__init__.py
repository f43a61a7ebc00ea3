"""A server that speaks E2B's wire protocol to the unmodified SDK: control API and envd, on loopback.

It really runs commands, as plain processes in a temporary folder: for our own tests only, it isolates nothing.
"""
