"""The fault run: orders at an even rate while servers, networks, processes and releases fail one after
another.
"""
