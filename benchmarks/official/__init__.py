"""The official code on the benchmark's work, one module a row's `name`, out of a checkout.

A module says where the code is and how it is called: CHECKOUT, build (of its modules, in their
order), loss, sample and prepare, and optimiser where that is not torch's AdamW as it comes.
The code itself is the user's checkout, imported unmodified.
"""
