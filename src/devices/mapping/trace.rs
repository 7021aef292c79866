//! What a step of a record led to, for whoever asks how.

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    pub what: &'static str,
    /// The words of the mapping.
    pub by: String,
    pub result: String,
}

pub(super) type Trace<'t> = Option<&'t mut Vec<Traced>>;

pub(super) fn note(
    trace: &mut Trace<'_>,
    what: &'static str,
    by: impl FnOnce() -> String,
    result: impl FnOnce() -> String,
) {
    if let Some(trace) = trace {
        trace.push(Traced { what, by: by(), result: result() });
    }
}
