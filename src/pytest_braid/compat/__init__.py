"""What projects written for other plugins find here under the names that they know."""
