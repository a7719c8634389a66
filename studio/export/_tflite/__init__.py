"""The .tflite writer: full-integer int8, channels last, packed with the flatbuffer schema."""
