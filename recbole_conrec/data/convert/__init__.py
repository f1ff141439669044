"""Converters from official downloads to RecBole atomic files, one file each."""
