//! Figures that are measured in turns.
//!
//! Machines are shared and clocks move, so a figure from one minute says little about one from another. The members of a
//! group therefore take turns, round after round: each repeats its work for some hundredths of a second, of which the median
//! call counts. A ratio is the median of the ratios within a round.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) rounds: usize,
    /// So long a turn is at least.
    pub(super) turn_s: f64,
}

/// What a member of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// What the machine can do at most.
    Limit,
    Own,
    /// What one could use instead.
    Peer,
}

/// A turn of so many seconds; gives the rate, in the member's unit, or a time, where that is the unit.
type Turn<'a> = Box<dyn FnMut(f64) -> Result<f64> + 'a>;

/// One thing that is measured.
pub(super) struct Member<'a> {
    name: String,
    unit: &'static str,
    role: Role,
    turn: Turn<'a>,
    /// The limit, by its name, and what one of the member's unit costs in that of the limit.
    limit: Option<(String, f64)>,
    /// Peers that it is held against, by their names.
    peers: Vec<String>,
    values: Vec<f64>,
}

/// What came of one member.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct FigureResult {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// What limits it, and the part of that which is reached, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) of_limit: Option<f64>,
    /// How many times as fast as others it is, measured in the same rounds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) vs: BTreeMap<String, f64>,
}

/// What a group came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) limits: Vec<FigureResult>,
    pub(super) results: Vec<FigureResult>,
    /// Peers that failed, and how.
    pub(super) failed: Vec<(String, String)>,
}

impl<'a> Member<'a> {
    fn new(role: Role, name: impl Into<String>, unit: &'static str, turn: Turn<'a>) -> Self {
        Self { name: name.into(), unit, role, turn, limit: None, peers: Vec::new(), values: Vec::new() }
    }

    /// One of our own: `work` does so many of its unit in a call.
    pub(super) fn own(
        name: impl Into<String>,
        unit: &'static str,
        amount: f64,
        work: impl FnMut() -> Result<()> + 'a,
    ) -> Self {
        Self::new(Role::Own, name, unit, calls(amount, work))
    }

    /// One of our own that measures itself.
    pub(super) fn own_turn(
        name: impl Into<String>,
        unit: &'static str,
        turn: impl FnMut(f64) -> Result<f64> + 'a,
    ) -> Self {
        Self::new(Role::Own, name, unit, Box::new(turn))
    }

    /// What the machine can do: so many of its unit in a call.
    pub(super) fn limit(
        name: impl Into<String>,
        unit: &'static str,
        amount: f64,
        work: impl FnMut() -> Result<()> + 'a,
    ) -> Self {
        Self::new(Role::Limit, name, unit, calls(amount, work))
    }

    /// A peer in this process.
    pub(super) fn peer(name: impl Into<String>, unit: &'static str, amount: f64, mut work: impl FnMut() + 'a) -> Self {
        let turn = calls(amount, move || {
            work();
            Ok(())
        });
        Self::new(Role::Peer, name, unit, turn)
    }

    /// A peer that measures itself.
    pub(super) fn peer_turn(
        name: impl Into<String>,
        unit: &'static str,
        turn: impl FnMut(f64) -> Result<f64> + 'a,
    ) -> Self {
        Self::new(Role::Peer, name, unit, Box::new(turn))
    }

    /// Held against a limit of the same group, of which one of its unit takes `cost`.
    pub(super) fn of(self, limit: &str, cost: f64) -> Self {
        Self { limit: Some((limit.to_owned(), cost)), ..self }
    }

    /// Held against another member of the same group.
    pub(super) fn vs(mut self, peer: impl Into<String>) -> Self {
        self.peers.push(peer.into());
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn unit(&self) -> &'static str {
        self.unit
    }

    fn is_time(&self) -> bool {
        is_time(self.unit)
    }

    fn result(&self, group: &[Self]) -> FigureResult {
        let find = |name: &str| group.iter().find(|other| other.name == name);
        let ratios = |other: &Self, of: &dyn Fn(f64, f64) -> f64| {
            let ratios = self.values.iter().zip(&other.values).map(|(own, other)| of(*own, *other));
            rounded(median(ratios.collect()), 1e-4)
        };
        let limit = self.limit.as_ref().and_then(|(name, cost)| Some((find(name)?, *cost)));
        let faster = |peer: &Self| {
            let ratio = |own: f64, peer: f64| if self.is_time() { peer / own } else { own / peer };
            (peer.name.clone(), ratios(peer, &ratio))
        };
        let values = || self.values.iter().copied();
        // A peer is measured beside several figures, each time anew.
        let beside = group.iter().find(|other| self.role == Role::Peer && other.peers.contains(&self.name));
        FigureResult {
            name: beside.map_or_else(|| self.name.clone(), |own| format!("{}@{}", self.name, own.name)),
            unit: self.unit.to_owned(),
            median: significant(median(self.values.clone())),
            min: significant(values().fold(f64::INFINITY, f64::min)),
            max: significant(values().fold(0.0, f64::max)),
            limit: limit.map(|(limit, _)| limit.name.clone()),
            of_limit: limit.map(|(limit, cost)| ratios(limit, &|own, limit| own * cost / limit)),
            vs: self.peers.iter().filter_map(|peer| find(peer)).map(faster).collect(),
        }
    }
}

/// Whether less is better.
pub(super) fn is_time(unit: &str) -> bool {
    matches!(unit, "ms" | "us")
}

/// Calls of one function, of which the median counts: a neighbour that takes a core for a moment spoils one call, not the turn.
fn calls<'a>(amount: f64, mut work: impl FnMut() -> Result<()> + 'a) -> Turn<'a> {
    let mut repeats = None;
    Box::new(move |turn_s| {
        let mut once = || -> Result<f64> {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed().as_secs_f64())
        };
        let repeats = match repeats {
            Some(repeats) => repeats,
            None => {
                once()?;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
                let wanted = (turn_s / once()?).ceil().clamp(1.0, 1e6) as usize;
                *repeats.insert(wanted)
            }
        };
        let times = (0..repeats).map(|_| once()).collect::<Result<Vec<f64>>>()?;
        Ok(amount / median(times))
    })
}

/// Measures a group.
pub(super) fn measure(mut members: Vec<Member<'_>>, effort: Effort) -> Result<Measured> {
    // The first turns find their length, and warm up what is to be warm.
    let mut measured = Measured::default();
    for round in 0..=effort.rounds {
        for member in &mut members {
            match (member.turn)(effort.turn_s) {
                Ok(value) if value.is_finite() && value > 0.0 => member.values.extend((round > 0).then_some(value)),
                Ok(value) => bail!("measuring {} gave {value}", member.name),
                // Ours are not lost for it.
                Err(error) if member.role == Role::Peer => {
                    measured.failed.push((member.name.clone(), format!("{error:#}")));
                    member.values.clear();
                }
                Err(error) => return Err(error.context(format!("measuring {}", member.name))),
            }
        }
        members.retain(|member| measured.failed.iter().all(|(name, _)| *name != member.name));
    }
    for member in &members {
        let result = member.result(&members);
        match member.role {
            Role::Limit => measured.limits.push(result),
            Role::Own | Role::Peer => measured.results.push(result),
        }
    }
    Ok(measured)
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Four digits.
pub(super) fn significant(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    rounded(value, 10_f64.powf(value.abs().log10().floor() - 3.0))
}

fn rounded(value: f64, step: f64) -> f64 {
    // Divided at the end, so that it is the float nearest to the decimal number.
    if step < 1.0 { (value / step).round() / (1.0 / step).round() } else { (value / step).round() * step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round_and_limits_count_what_a_unit_costs() {
        // Everything becomes slower by the round, as on a machine whose clock goes down.
        let (mut own, mut peer, mut limit) = (0.0, 0.0, 0.0);
        let slower = |clock: &mut f64, rate: f64| {
            *clock += 1.0;
            Ok(rate / *clock)
        };
        let second = slower;
        let third = slower;
        let members = vec![
            Member::new(Role::Limit, "memory", "bytes/s", Box::new(move |_| slower(&mut limit, 4000.0))),
            Member::own_turn("gate", "frames/s", move |_| second(&mut own, 300.0)).of("memory", 4.0).vs("fold"),
            Member::peer_turn("fold", "frames/s", move |_| third(&mut peer, 100.0)),
        ];
        let measured = measure(members, Effort { rounds: 3, turn_s: 0.0 }).unwrap();
        assert_eq!(measured.limits[0].name, "memory");
        let gate = &measured.results[0];
        assert_eq!((gate.median, gate.min, gate.max), (100.0, 75.0, 150.0));
        assert_eq!((gate.of_limit, gate.vs["fold"]), (Some(0.3), 3.0));
        assert_eq!(gate.limit.as_deref(), Some("memory"));
        assert_eq!(measured.results[1].name, "fold@gate");
    }

    #[test]
    fn of_times_the_shorter_one_is_the_faster() {
        let members = vec![
            Member::own_turn("start", "ms", |_| Ok(20.0)).vs("theirs"),
            Member::peer_turn("theirs", "ms", |_| Ok(50.0)),
        ];
        let measured = measure(members, Effort { rounds: 2, turn_s: 0.0 }).unwrap();
        assert_eq!(measured.results[0].vs["theirs"], 2.5);
    }

    #[test]
    fn what_fails_names_the_figure() {
        let members = vec![Member::own("gate", "frames/s", 1.0, || anyhow::bail!("no memory"))];
        let error = measure(members, Effort { rounds: 1, turn_s: 0.0 }).unwrap_err();
        assert_eq!(format!("{error:#}"), "measuring gate: no memory");
    }

    #[test]
    fn four_digits_are_kept() {
        let cases = [(123_456.0, 123_500.0), (0.012_345_6, 0.01235), (9.9996, 10.0), (0.0, 0.0), (7.0, 7.0)];
        for (value, expected) in cases {
            assert_eq!(significant(value), expected);
        }
    }
}
