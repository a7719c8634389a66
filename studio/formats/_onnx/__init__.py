"""How an ONNX file becomes a Network: load, name, fold constants, build. Imports torch and onnx."""
