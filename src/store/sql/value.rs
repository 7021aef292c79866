//! Values as they go into a statement and come out of a row: the four that both databases have.
//!
//! They are borrowed, so that binding and reading copies nothing that is not kept.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Fault, Result};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::store) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(in crate::store) fn as_text(self) -> Result<&'a str> {
        match self {
            Value::Text(text) => Ok(text),
            _ => Err(Fault::Column),
        }
    }

    pub(in crate::store) fn as_blob(self) -> Result<&'a [u8]> {
        match self {
            Value::Blob(bytes) => Ok(bytes),
            _ => Err(Fault::Column),
        }
    }

    pub(in crate::store) fn as_blob_or_null(self) -> Result<Option<&'a [u8]>> {
        match self {
            Value::Null => Ok(None),
            value => value.as_blob().map(Some),
        }
    }
}

/// What can be bound to a parameter.
pub(in crate::store) trait Bind {
    fn value(&self) -> Value<'_>;
}

/// What a column can be read as.
pub(in crate::store) trait Column: Sized {
    /// None where the column holds something else.
    fn of(value: Value<'_>) -> Option<Self>;
}

impl Bind for Value<'_> {
    fn value(&self) -> Value<'_> {
        *self
    }
}

impl<T: Bind + ?Sized> Bind for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Bind::value)
    }
}

impl<T: Column> Column for Option<T> {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::of(value).map(Some),
        }
    }
}

macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl Bind for $kind {
            fn value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }

        impl Column for $kind {
            fn of(value: Value<'_>) -> Option<Self> {
                let Value::Integer(number) = value else { return None };
                number.try_into().ok()
            }
        }
    )*};
}

integers!(i64, i32, u32, u16, u8);

impl Bind for bool {
    fn value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl Column for bool {
    fn of(value: Value<'_>) -> Option<Self> {
        i64::of(value).map(|number| number != 0)
    }
}

macro_rules! texts {
    ($($kind:ty),*) => {$(
        impl Bind for $kind {
            fn value(&self) -> Value<'_> {
                Value::Text(self)
            }
        }
    )*};
}

texts!(str, String, Arc<str>);

impl Column for String {
    fn of(value: Value<'_>) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        Some(text.to_owned())
    }
}

impl Column for Arc<str> {
    fn of(value: Value<'_>) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        Some(text.into())
    }
}

macro_rules! blobs {
    ($($kind:ty),*) => {$(
        impl Bind for $kind {
            fn value(&self) -> Value<'_> {
                Value::Blob(self)
            }
        }
    )*};
}

blobs!([u8], Vec<u8>, Cow<'_, [u8]>);

impl<const N: usize> Bind for [u8; N] {
    fn value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl Column for Vec<u8> {
    fn of(value: Value<'_>) -> Option<Self> {
        value.as_blob().ok().map(<[u8]>::to_vec)
    }
}

impl<const N: usize> Column for [u8; N] {
    fn of(value: Value<'_>) -> Option<Self> {
        value.as_blob().ok()?.try_into().ok()
    }
}

/// The values of a statement's parameters, in their order.
pub(in crate::store) trait Params {
    fn with<T>(self, work: impl FnOnce(&[Value<'_>]) -> T) -> T;
}

impl Params for () {
    fn with<T>(self, work: impl FnOnce(&[Value<'_>]) -> T) -> T {
        work(&[])
    }
}

impl<B: Bind, const N: usize> Params for [B; N] {
    fn with<T>(self, work: impl FnOnce(&[Value<'_>]) -> T) -> T {
        work(&self.each_ref().map(Bind::value))
    }
}

impl Params for &[Value<'_>] {
    fn with<T>(self, work: impl FnOnce(&[Value<'_>]) -> T) -> T {
        work(self)
    }
}

/// Parameters of several kinds.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        [$($crate::store::sql::Bind::value(&$value)),*]
    };
}

pub(in crate::store) use params;
