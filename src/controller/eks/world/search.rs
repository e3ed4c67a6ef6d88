//! All runs with at most a given number of departures from the run without faults.
//!
//! The kind run from a state is one: every call takes effect and is answered, every write is made. At each of its states every other
//! step that is possible is a departure, from which the run goes on kindly again, to its rest. So a bound of two departures is
//! every pair of unkind things at every pair of moments. States that were met with as many departures left are not entered again.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::World;
use super::step::Step;

/// A run that makes so many steps does not come to rest.
const MOST_STEPS: usize = 600;

/// So many steps of a story are told.
const SHOWN: usize = 80;

/// A law that a run breaks, and its steps.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) law: String,
    pub(super) story: Vec<Step>,
}

impl Broken {
    /// The steps, one a line, and the law.
    pub(super) fn tell(&self) -> String {
        let steps = self.story.iter().enumerate();
        let lines: Vec<String> = steps
            .map(|(n, step)| format!("{:3} {step:?}", n + 1))
            .collect();
        format!("{}\n\nafter\n{}", self.law, lines.join("\n"))
    }

    /// The law's name.
    pub(super) fn name(&self) -> &str {
        self.law.split(':').next().unwrap_or_default()
    }
}

/// A law and the steps that break it, one a line; of very long runs the last ones.
pub(super) fn tell(law: &str, story: &[Step]) -> String {
    let steps = story
        .iter()
        .enumerate()
        .skip(story.len().saturating_sub(SHOWN));
    let lines: Vec<String> = steps
        .map(|(n, step)| format!("{:3} {step:?}", n + 1))
        .collect();
    format!("{law}\n\nafter\n{}", lines.join("\n"))
}

struct Node {
    step: Step,
    before: Option<Rc<Node>>,
}

fn story(last: Option<&Rc<Node>>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut next = last;
    while let Some(node) = next {
        steps.push(node.step.clone());
        next = node.before.as_ref();
    }
    steps.reverse();
    steps
}

/// Makes a step; a panic breaks a law too.
pub(super) fn judged(world: &mut World, step: &Step) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| world.step(step)))
        .unwrap_or_else(|_| Err("panic: the operator's process ends".to_owned()))
}

/// Tries them all; gives how many states there are.
pub(super) fn search(start: &World, departures: usize) -> Result<usize, Broken> {
    let mut met: HashMap<u64, usize> = HashMap::new();
    let mut stack = vec![(start.clone(), None::<Rc<Node>>, departures, 0)];
    while let Some((mut world, mut last, left, mut length)) = stack.pop() {
        loop {
            let print = world.print();
            if met.get(&print).is_some_and(|before| *before >= left) {
                break;
            }
            met.insert(print, left);
            if left > 0 {
                for step in world.unkind() {
                    let mut other = world.clone();
                    let node = Some(Rc::new(Node {
                        step: step.clone(),
                        before: last.clone(),
                    }));
                    if let Err(law) = judged(&mut other, &step) {
                        return Err(shortest(start, story(node.as_ref()), law));
                    }
                    stack.push((other, node, left - 1, length + 1));
                }
            }
            let Some(step) = world.kind() else {
                if let Err(law) = world.judge_rest() {
                    return Err(shortest(start, story(last.as_ref()), law));
                }
                break;
            };
            last = Some(Rc::new(Node {
                step: step.clone(),
                before: last,
            }));
            length += 1;
            if length > MOST_STEPS {
                let law = "rest: the run has no end".to_owned();
                return Err(Broken {
                    law,
                    story: story(last.as_ref()),
                });
            }
            if let Err(law) = judged(&mut world, &step) {
                return Err(shortest(start, story(last.as_ref()), law));
            }
        }
    }
    Ok(met.len())
}

/// Runs a story: steps that can't be made are passed over. At its end everything comes to rest, kindly.
pub(super) fn run(start: &World, story: &[Step]) -> Result<World, Broken> {
    let mut world = start.clone();
    let mut made = Vec::new();
    for step in story {
        if world.can(step) {
            made.push(step.clone());
            if let Err(law) = judged(&mut world, step) {
                return Err(Broken { law, story: made });
            }
        }
    }
    for _ in 0..MOST_STEPS {
        let Some(step) = world.kind() else {
            return match world.judge_rest() {
                Ok(()) => Ok(world),
                Err(law) => Err(Broken { law, story: made }),
            };
        };
        made.push(step.clone());
        if let Err(law) = judged(&mut world, &step) {
            return Err(Broken { law, story: made });
        }
    }
    Err(Broken {
        law: "rest: the run has no end".to_owned(),
        story: made,
    })
}

/// The same law, broken by fewer steps. Kind steps at the end are left out: they follow.
pub(super) fn shortest(start: &World, story: Vec<Step>, law: String) -> Broken {
    let mut best = Broken { law, story };
    let mut size = best.story.len();
    while size > 0 {
        let mut place = 0;
        while place < best.story.len() {
            let end = (place + size).min(best.story.len());
            let mut fewer = best.story.clone();
            fewer.drain(place..end);
            match run(start, &fewer) {
                Err(broken)
                    if broken.name() == best.name() && broken.story.len() < best.story.len() =>
                {
                    best = broken;
                }
                _ => place += size,
            }
        }
        size /= 2;
    }
    best
}
