"""What Customer.io takes, in bytes of UTF-8 and in numbers."""

MOST_BYTES = 500_000
"""Of a batch."""
MOST_ITEM_BYTES = 32_768
MOST_IDENTIFIER_BYTES = 150
MOST_NAME_BYTES = 150
MOST_VALUE_BYTES = 1_000
MOST_ATTRIBUTES = 300
