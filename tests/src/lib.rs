//! Namespaces, cables, traffic: real parts for tests and for the lab.
