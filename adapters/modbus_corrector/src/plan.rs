//! Which requests read what a command wants: neighbouring registers in one, or the blocks that the profile names.

use crate::frame::{EXCEPTION, READ_HOLDING, READ_INPUT};
use crate::map::{Map, Place};
use crate::options::BlockWords;
use crate::words::Scope;

/// Registers that one request reads. `bus`: none is the device's own address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Block {
    pub bus: Option<u8>,
    pub function: u8,
    pub first: u16,
    pub count: u16,
}

/// What all requests of one read bring fits beside the rest of a session's state.
pub const READ_REGISTERS_MAX: u16 = 1700;
/// Requests of one command.
pub const REQUESTS_MAX: usize = 64;

/// The requests of each kind of read.
pub struct Plans {
    pub current: Vec<Block>,
    pub account: Vec<Block>,
    pub valve: Vec<Block>,
}

impl Block {
    pub fn check(words: BlockWords) -> Result<Self, String> {
        let last = u32::from(words.first) + u32::from(words.count);
        let fits = (1..=125).contains(&words.count) && last <= 0x1_0000;
        let bus_fits = words.bus_address.is_none_or(|b| (1..=247).contains(&b));
        if !fits || !bus_fits || !matches!(words.function, READ_HOLDING | READ_INPUT) {
            return Err(
                "profile: blocks: function 3 or 4, count 1 to 125, up to register 65535, bus_address 1 to 247".into()
            );
        }
        Ok(Self { bus: words.bus_address, function: words.function, first: words.first, count: words.count })
    }

    pub const fn of(place: Place) -> Self {
        Self { bus: place.bus, function: place.function, first: place.register, count: place.registers }
    }

    pub fn holds(self, place: Place) -> bool {
        let end = |first: u16, count: u16| u32::from(first) + u32::from(count);
        (self.bus, self.function) == (place.bus, place.function)
            && self.first <= place.register
            && end(place.register, place.registers) <= end(self.first, self.count)
    }
}

impl Plans {
    pub fn new(map: &Map, blocks: &[Block], registers_max: u16, gap: u16, alternate: bool) -> Result<Self, String> {
        let plan = |places: Vec<Place>| plan(places, blocks, registers_max, gap, alternate);
        let plans = Self {
            current: plan(map.places(Scope::Current))?,
            account: plan(map.places(Scope::Account))?,
            valve: plan(map.valve_places())?,
        };
        if plans.current.is_empty() {
            return Err("profile: map.registers: nothing to read".into());
        }
        Ok(plans)
    }
}

fn plan(
    mut places: Vec<Place>,
    blocks: &[Block],
    registers_max: u16,
    gap: u16,
    alternate: bool,
) -> Result<Vec<Block>, String> {
    places.sort_unstable();
    places.dedup();
    let mut plan: Vec<Block> = Vec::new();
    for place in &places {
        if !blocks.is_empty() {
            let block = blocks.iter().find(|b| b.holds(*place)).ok_or_else(|| {
                format!(
                    "profile: blocks: none holds register {} (function {}) as a whole",
                    place.register, place.function
                )
            })?;
            if !plan.contains(block) {
                plan.push(*block);
            }
            continue;
        }
        let end = u32::from(place.register) + u32::from(place.registers);
        if let Some(last) = plan.last_mut() {
            let last_end = u32::from(last.first) + u32::from(last.count);
            let near = u32::from(place.register) <= last_end + u32::from(gap);
            let count = end.max(last_end) - u32::from(last.first);
            if (last.bus, last.function) == (place.bus, place.function) && near && count <= u32::from(registers_max) {
                last.count = count as u16;
                continue;
            }
        }
        plan.push(Block::of(*place));
    }
    let total: u32 = plan.iter().map(|b| u32::from(b.count) + u32::from(alternate)).sum();
    if total > u32::from(READ_REGISTERS_MAX) || plan.len() > REQUESTS_MAX {
        return Err(format!(
            "profile: map: {total} registers in {} requests; at most {READ_REGISTERS_MAX} in {REQUESTS_MAX}",
            plan.len()
        ));
    }
    if alternate {
        distinct(&plan)?;
    }
    Ok(plan)
}

/// With alternating lengths no two answers of a read, nor of the read before it, have the same length.
fn distinct(plan: &[Block]) -> Result<(), String> {
    for (at, block) in plan.iter().enumerate() {
        let same = |b: &&Block| (b.bus, b.function) == (block.bus, block.function) && b.count.abs_diff(block.count) < 2;
        if plan[..at].iter().any(|b| same(&b)) || block.count >= 125 || block.first.checked_add(block.count).is_none() {
            return Err(format!(
                "profile: alternate_counts: {} registers from {} on: counts have to differ by two or more, with room for one more; name other blocks",
                block.count, block.first
            ));
        }
    }
    Ok(())
}

/// What answers can begin with.
pub struct Asked {
    /// Besides the device's own address.
    pub buses: Vec<u8>,
    functions: Vec<u8>,
    byte_counts: Vec<u8>,
}

impl Asked {
    pub fn new(map: &Map, plans: &Plans, alternate: bool) -> Self {
        let mut asked = Self { buses: Vec::new(), functions: Vec::new(), byte_counts: Vec::new() };
        for block in plans.current.iter().chain(&plans.account).chain(&plans.valve) {
            asked.add(block.bus, block.function, block.count);
            if alternate {
                asked.add(block.bus, block.function, block.count + 1);
            }
        }
        for place in map.read_back_places() {
            asked.add(place.bus, place.function, place.registers);
        }
        for (bus, function) in map.writes() {
            asked.add(bus, function, 0);
        }
        asked
    }

    fn add(&mut self, bus: Option<u8>, function: u8, registers: u16) {
        self.buses.extend(bus.filter(|b| !self.buses.contains(b)));
        if !self.functions.contains(&function) {
            self.functions.push(function);
        }
        let bytes = (registers * 2) as u8;
        if bytes > 0 && !self.byte_counts.contains(&bytes) {
            self.byte_counts.push(bytes);
        }
    }

    pub fn can_begin(&self, function: Option<u8>, count: Option<u8>) -> bool {
        let Some(function) = function else { return true };
        let reads = matches!(function, READ_HOLDING | READ_INPUT);
        self.functions.contains(&(function & !EXCEPTION))
            && (!reads || count.is_none_or(|bytes| self.byte_counts.contains(&bytes)))
    }
}
