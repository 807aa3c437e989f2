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
    /// All parameters; a command asks for what it wants of them.
    parameters: Vec<Block>,
    rules: Rules,
}

/// How registers become requests. An answer says how many registers it has and not which, so what the requests of one read
/// ask of a device has to differ in that.
#[derive(Clone, Debug)]
pub struct Rules {
    pub blocks: Vec<Block>,
    pub registers_max: u16,
    pub gap: u16,
    /// Every second read asks for a register more.
    pub alternate: bool,
    /// Counts that are alike are accepted where the map allows no others.
    pub accept_equal: bool,
    /// The device's own address, where the profile has it.
    pub own_bus: Option<u8>,
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

    const fn place(self) -> Place {
        Place { bus: self.bus, function: self.function, register: self.first, registers: self.count }
    }

    /// The register behind it.
    const fn end(self) -> u32 {
        self.first as u32 + self.count as u32
    }

    pub fn holds(self, place: Place) -> bool {
        (self.bus, self.function) == (place.bus, place.function)
            && self.first <= place.register
            && Self::of(place).end() <= self.end()
    }
}

impl Rules {
    /// By how much the counts of two requests differ at least.
    const fn apart(&self) -> u16 {
        if self.alternate { 2 } else { 1 }
    }

    fn same_device(&self, a: Block, b: Block) -> bool {
        (a.bus.or(self.own_bus), a.function) == (b.bus.or(self.own_bus), b.function)
    }

    /// Whether an answer to one could be taken for the other's.
    pub fn alike(&self, a: Block, b: Block) -> bool {
        self.same_device(a, b) && a.count.abs_diff(b.count) < self.apart()
    }

    /// The first two requests that are alike, where that is not accepted.
    pub fn first_alike(&self, plan: &[Block]) -> Option<(Block, Block)> {
        if self.accept_equal && !self.alternate {
            return None;
        }
        let earlier = |(at, block): (usize, &Block)| {
            let (block, found) = (*block, plan[..at].iter().find(|b| self.alike(**b, *block)));
            found.map(|found| (*found, block))
        };
        plan.iter().enumerate().find_map(earlier)
    }

    /// Neighbours in one request, up to a count that no earlier request has.
    fn group(&self, places: &[Place], gap: u16) -> Vec<Block> {
        let mut plan: Vec<Block> = Vec::new();
        for place in places {
            if let Some((last, earlier)) = plan.split_last_mut() {
                let near = u32::from(place.register) <= last.end() + u32::from(gap);
                let count = Block::of(*place).end().max(last.end()) - u32::from(last.first);
                let taken = |most: &u16| earlier.iter().any(|b| self.alike(*b, Block { count: *most, ..*last }));
                let most = (1..=self.registers_max).rev().find(|most| !taken(most)).unwrap_or(self.registers_max);
                if (last.bus, last.function) == (place.bus, place.function) && near && count <= u32::from(most) {
                    last.count = count as u16;
                    continue;
                }
            }
            plan.push(Block::of(*place));
        }
        plan
    }

    /// Requests that are alike read on into the next register, or from the one before, where the map says that there is one.
    fn part(&self, plan: &mut [Block], known: &[Place]) {
        for at in 0..plan.len() {
            while plan.iter().enumerate().any(|(n, b)| n != at && self.alike(*b, plan[at])) {
                let block = plan[at];
                let before = block.first.checked_sub(1).map(|first| Block { first, ..block });
                let wider = std::iter::once(block).chain(before).map(|b| Block { count: block.count + 1, ..b });
                let is_there = |wider: &Block| {
                    let added = if wider.first == block.first { block.end() } else { u32::from(wider.first) };
                    let holds = |p: &Place| u32::from(p.register) <= added && added < Block::of(*p).end();
                    known.iter().any(|p| self.same_device(Block::of(*p), block) && holds(p))
                };
                match wider.filter(|_| block.count < self.registers_max).find(is_there) {
                    Some(wider) => plan[at] = wider,
                    None => break,
                }
            }
        }
    }
}

impl Plans {
    pub fn new(map: &Map, rules: Rules) -> Result<Self, String> {
        let parameters: Vec<Place> = map.parameters.iter().map(|p| p.number.place).collect();
        let known = [map.places(Scope::Current), map.places(Scope::Account)].concat();
        let plan = |places: Vec<Place>| plan(places, &rules, &known);
        let plans = Self {
            current: plan(map.places(Scope::Current))?,
            account: plan(map.places(Scope::Account))?,
            valve: plan(map.valve_places())?,
            parameters: rules.group(&in_order(parameters), 0),
            rules,
        };
        if plans.current.is_empty() {
            return Err("profile: map.registers: nothing to read".into());
        }
        Ok(plans)
    }

    /// The requests that read these parameters, and two of them that cannot be told apart.
    pub fn of_parameters(&self, wanted: Vec<Place>) -> (Vec<Block>, Option<(Block, Block)>) {
        let mut plan = self.rules.group(&in_order(wanted), 0);
        self.rules.part(&mut plan, &self.known_parameters());
        let alike = self.rules.first_alike(&plan);
        (plan, alike)
    }

    /// The request that reads a parameter back after one that read `before` back: wider, where otherwise the two would be alike
    /// and the map has a parameter beside it.
    pub fn back(&self, place: Place, before: Option<Block>) -> Block {
        let mut plan: Vec<Block> = std::iter::once(Block::of(place)).chain(before).collect();
        self.rules.part(&mut plan, &self.known_parameters());
        plan[0]
    }

    fn known_parameters(&self) -> Vec<Place> {
        self.parameters.iter().map(|b| b.place()).collect()
    }
}

fn in_order(mut places: Vec<Place>) -> Vec<Place> {
    places.sort_unstable();
    places.dedup();
    places
}

fn plan(places: Vec<Place>, rules: &Rules, known: &[Place]) -> Result<Vec<Block>, String> {
    let places = in_order(places);
    let mut plan: Vec<Block> = Vec::new();
    if rules.blocks.is_empty() {
        plan = rules.group(&places, rules.gap);
        rules.part(&mut plan, known);
    }
    for place in places.iter().filter(|_| !rules.blocks.is_empty()) {
        let block = rules.blocks.iter().find(|b| b.holds(*place)).ok_or_else(|| {
            format!("profile: blocks: none holds register {} (function {}) as a whole", place.register, place.function)
        })?;
        if !plan.contains(block) {
            plan.push(*block);
        }
    }
    let total: u32 = plan.iter().map(|b| u32::from(b.count) + u32::from(rules.alternate)).sum();
    if total > u32::from(READ_REGISTERS_MAX) || plan.len() > REQUESTS_MAX {
        return Err(format!(
            "profile: map: {total} registers in {} requests; at most {READ_REGISTERS_MAX} in {REQUESTS_MAX}",
            plan.len()
        ));
    }
    if let Some(full) = plan.iter().find(|b| rules.alternate && (b.count >= 125 || b.end() > 0xFFFF)) {
        return Err(format!(
            "profile: alternate_counts: {} registers from {} on: no room for one more; name other blocks",
            full.count, full.first
        ));
    }
    match rules.first_alike(&plan) {
        None => Ok(plan),
        Some((one, other)) => Err(format!(
            "profile: {}: {} registers from {} on and {} from {} on, which one read asks for: answers could be taken for each other; name other blocks{}",
            if rules.alternate { "alternate_counts: counts have to differ by two or more" } else { "equal_counts" },
            one.count,
            one.first,
            other.count,
            other.first,
            if rules.alternate { "" } else { ", or accept it with equal_counts = \"accept\"" },
        )),
    }
}

/// What answers can begin with.
pub struct Asked {
    /// Besides the device's own address.
    pub buses: Vec<u8>,
    functions: Vec<u8>,
    byte_counts: Vec<u8>,
}

impl Asked {
    pub fn new(map: &Map, plans: &Plans) -> Self {
        let mut asked = Self { buses: Vec::new(), functions: Vec::new(), byte_counts: Vec::new() };
        for block in plans.current.iter().chain(&plans.account).chain(&plans.valve) {
            asked.add(block.bus, block.function, block.count);
            if plans.rules.alternate {
                asked.add(block.bus, block.function, block.count + 1);
            }
        }
        for place in map.read_back_places() {
            asked.add(place.bus, place.function, place.registers);
        }
        // Any neighbours among the parameters may be asked for together.
        for block in &plans.parameters {
            for count in 1..=block.count {
                asked.add(block.bus, block.function, count);
            }
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
