"""The fault run: a steady load of orders while servers, networks, processes and releases fail one after
another.
"""
