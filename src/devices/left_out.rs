//! What becomes of each type of the platforms, as the guide's table says (`profiles/source-types.csv`).

use std::collections::HashMap;
use std::sync::LazyLock;

static WHY_NOT: LazyLock<HashMap<(&'static str, String), &'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../profiles/source-types.csv").lines().skip(1);
    lines
        .filter_map(|line| {
            let mut fields = line.splitn(5, ',');
            let (source, name) = (fields.next()?, fields.next()?);
            let why = fields.nth(2).filter(|why| !why.is_empty())?;
            Some(((source, bare(name)), why.trim_matches('"')))
        })
        .collect()
});

/// Why a type of a platform is not taken. Platforms write one name with a capital here and without there.
pub(super) fn why_not(source: &str, name: &str) -> Option<&'static str> {
    let sources = WHY_NOT.keys().map(|(source, _)| *source);
    let source = sources.into_iter().find(|known| *known == source)?;
    WHY_NOT.get(&(source, bare(name))).copied()
}

/// A name without the namespace that some tables write before it.
fn bare(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase()
}
