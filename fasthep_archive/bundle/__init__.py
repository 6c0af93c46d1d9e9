"""Layout, crate graph, manifests, canonical zip, safe reader, and the verifier that every bundle carries."""
