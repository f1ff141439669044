"""What every room uses: errors, names, files, processes, arrays."""
