tessera_backend(reference
  CLASS Reference
  DESCRIPTION "plain loops with float64 sums: the oracle that every other backend is compared with"
  SOURCES reference_backend.cc)
