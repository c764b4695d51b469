//! Tasks of BuildKit's developers.

fn main() {}
