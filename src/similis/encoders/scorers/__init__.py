"""Models that read texts together: ``cross`` scores pairs, ``duo`` compares two documents for a query."""
