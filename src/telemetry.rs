//! Names of spans and fields, and wrappers that redact. Knows none of our types.
