"""The official code of a family on the benchmark's work, one module a family, out of a checkout.

A module says where the code is and how it is called: CHECKOUT, build, loss, sample and prepare.
The code itself is the user's checkout, imported unmodified.
"""
