//! The levels of service, and values that each of them has.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;

use crate::error::Error;

/// Quality of service: what a job or a stream is promised. The first is the most urgent.
#[cfg_attr(feature = "serve", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Qos {
    /// Goes before everything else: behind what is on the device already, it waits for nobody but its like.
    High,
    /// Goes when no `High` job waits, in pieces short enough that one may come between.
    #[default]
    Default,
    /// Takes what the others leave, in pieces too, and a tenth of the device's time in any case.
    Low,
}

impl Qos {
    /// All levels, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Default, Self::Low];

    /// Its name: `high`, `default` or `low`.
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Default => "default",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Qos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Qos {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|qos| qos.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| Error::setting("the QoS", format!("`{text}`"), "high, default or low"))
    }
}

/// One value for each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PerQos<T> {
    /// That of [`Qos::High`].
    pub high: T,
    /// That of [`Qos::Default`].
    pub default: T,
    /// That of [`Qos::Low`].
    pub low: T,
}

impl<T> PerQos<T> {
    /// Makes each level's value.
    pub fn from_fn(mut make: impl FnMut(Qos) -> T) -> Self {
        Self { high: make(Qos::High), default: make(Qos::Default), low: make(Qos::Low) }
    }

    /// The values, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = (Qos, &T)> {
        Qos::ALL.into_iter().map(|qos| (qos, &self[qos]))
    }
}

impl<T> Index<Qos> for PerQos<T> {
    type Output = T;

    fn index(&self, qos: Qos) -> &T {
        match qos {
            Qos::High => &self.high,
            Qos::Default => &self.default,
            Qos::Low => &self.low,
        }
    }
}

impl<T> IndexMut<Qos> for PerQos<T> {
    fn index_mut(&mut self, qos: Qos) -> &mut T {
        match qos {
            Qos::High => &mut self.high,
            Qos::Default => &mut self.default,
            Qos::Low => &mut self.low,
        }
    }
}
