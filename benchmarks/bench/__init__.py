"""The benchmark runs behind `make bench`.

processes  the server, the peer and the generator as processes
provision  stations and id tokens, by REST
ledger     what is stored, compared with what was acknowledged
prefill    millions of rows of earlier days
parts      what is measured
report     the tables of docs/benchmarks.md
"""
