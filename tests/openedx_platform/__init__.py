"""Stands in for the Open edX platform: modules of the same names and signatures, as small as they can be."""
