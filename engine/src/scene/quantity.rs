//! The small types of a scene file: numbers that may be expressions, values per axis, named constants.
//! Invariant: a type accepts exactly what its error message lists.

use nikola_components::geometry::axis::Axis;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A number, or an expression in quotes.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantity {
    /// A number.
    Number(f64),
    /// An expression.
    Expression(String),
}

impl From<f64> for Quantity {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;
        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or an expression in quotes")
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Quantity, E> {
                Ok(Quantity::Number(value))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Quantity, E> {
                Ok(Quantity::Number(value as f64))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Quantity, E> {
                Ok(Quantity::Number(value as f64))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Quantity, E> {
                Ok(Quantity::Expression(value.to_string()))
            }
        }
        deserializer.deserialize_any(QuantityVisitor)
    }
}

/// Values per axis: `{x: 1, y: 2}`; `{all: 3}` gives every axis a value that named axes override.
#[derive(Debug, Clone, PartialEq)]
pub struct PerAxis<T> {
    /// Value of axes that are not named.
    pub all: Option<T>,
    /// Values of named axes.
    pub named: Box<[Option<T>; 9]>,
}

impl<T> Default for PerAxis<T> {
    fn default() -> Self {
        Self { all: None, named: Box::new([const { None }; 9]) }
    }
}

impl<T> PerAxis<T> {
    /// The value given for `axis`.
    pub fn get(&self, axis: Axis) -> Option<&T> {
        self.named[axis.index()].as_ref().or(self.all.as_ref())
    }

    /// The key under which the value of `axis` was written.
    pub fn key(&self, axis: Axis) -> &'static str {
        if self.named[axis.index()].is_none() && self.all.is_some() { "all" } else { axis.name() }
    }

    /// Whether `axis` itself is named.
    pub fn names(&self, axis: Axis) -> bool {
        self.named[axis.index()].is_some()
    }
}

/// Names of the axes as scenes spell them.
pub const AXIS_NAMES: &[&str] = &["r", "s", "t", "u", "v", "w", "x", "y", "z"];

const AXIS_KEYS: &[&str] = &["r", "s", "t", "u", "v", "w", "x", "y", "z", "all"];

/// A name written without quotes.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name without quotes")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Name, E> {
                Ok(Name(value.to_string()))
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for PerAxis<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PerAxisVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PerAxisVisitor<T> {
            type Value = PerAxis<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values per axis, e.g. {x: 1, y: 2} or {all: 3}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = PerAxis::default();
                while let Some(Name(key)) = map.next_key()? {
                    let slot = match AXIS_NAMES.iter().position(|name| *name == key) {
                        Some(index) => &mut values.named[index],
                        None if key == "all" => &mut values.all,
                        None => return Err(A::Error::unknown_field(&key, AXIS_KEYS)),
                    };
                    if slot.is_some() {
                        let name = AXIS_KEYS.iter().find(|name| **name == key).copied().unwrap_or("all");
                        return Err(A::Error::duplicate_field(name));
                    }
                    *slot = Some(map.next_value()?);
                }
                Ok(values)
            }
        }
        deserializer.deserialize_any(PerAxisVisitor(PhantomData))
    }
}

/// Named constants in the order written: `{k: 2, lambda: "2*pi/k"}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constants(pub Vec<(String, Quantity)>);

impl<'de> Deserialize<'de> for Constants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConstantsVisitor;
        impl<'de> Visitor<'de> for ConstantsVisitor {
            type Value = Constants;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("named constants, e.g. {k: 2, lambda: \"2*pi/k\"}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Constants, A::Error> {
                let mut constants = Vec::new();
                while let Some(Name(key)) = map.next_key()? {
                    constants.push((key, map.next_value()?));
                }
                Ok(Constants(constants))
            }
        }
        deserializer.deserialize_any(ConstantsVisitor)
    }
}
