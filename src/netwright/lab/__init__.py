"""Experiments made of many runs: what helps here, and how sure is that?"""
