"""One file a topic: CASES, and for each library a function that builds the step of a case."""
