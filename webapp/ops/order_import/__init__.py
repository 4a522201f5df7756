"""Real orders from a file: read twice, first to judge every line, then to place what was judged.

===========  ============================================================================================
``source``   the file or standard input, its digest, and its lines as text
``record``   what a reader makes of a file: one order, or what is wrong with it
``formats``  the readers by name: ``csv_rows``, ``json_lines``, ``cdnow``
``check``    the first reading: what is wrong, what was placed before
``place``    the second reading: some hundred orders to a transaction
``report``   for people, and as JSON
===========  ============================================================================================
"""
