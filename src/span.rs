//! Spans of the crate `tracing` around what takes time, with the feature of that name. Without it nothing is
//! left of them: the values of their fields are not even computed.

/// Enters a span until the end of the block: its level, its name and its fields.
#[cfg(feature = "tracing")]
macro_rules! span {
    ($level:ident, $($span:tt)*) => {
        let _span = tracing::span!(tracing::Level::$level, $($span)*).entered();
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! span {
    ($($span:tt)*) => {};
}

pub(crate) use span;
