"""The gallery in Milvus, for more faces or machines than one host has; see docs/adr/0009-milvus.md."""
