"""What a data set holds, and what to change in its protocol."""
