"""One module for each upstream: targets to requests, and answers to records."""
