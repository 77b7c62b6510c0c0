"""The same counts from any engine that holds the rows."""
