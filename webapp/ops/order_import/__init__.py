"""Import orders from a file in two passes: validate every line, then place the orders.

=================================  ======================================================================
``source``                         the file or standard input, its digest, and its lines
``record``                         what a reader returns: an order, or a fault
``csv_rows`` ``json_lines``        the readers of the formats
``cdnow``
``csv_table``                      CSV with named columns
``validate``                       the first pass
``load``                           the second pass, some hundred orders in each transaction
``report``                         the result, for people and as JSON
=================================  ======================================================================
"""
