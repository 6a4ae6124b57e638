"""Stages: each a pure function of files and a composed config, run as a module."""
