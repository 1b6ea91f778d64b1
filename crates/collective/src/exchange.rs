//! Broadcasts and gathers, of bytes and of values as CBOR (RFC 8949), which knows numbers that
//! are none and has all bits of the others. All ranks call the same function with the
//! same root; each waits for those that its result depends on.

use crate::{Collective, CollectiveError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whom a rank hears of what the root tells, nobody at the root itself, and whom it passes it on to.
///
/// They are a binomial tree: rank `r`, counted from the root, receives from `r` without its lowest
/// bit, and sends to `r + 2^i` for each `2^i` below that bit.
pub fn route(collective: &dyn Collective, root: usize) -> (Option<usize>, Vec<usize>) {
    let ranks = collective.ranks();
    let place = (collective.rank() + ranks - root) % ranks;
    let rank_at = |place: usize| (place + root) % ranks;
    let lowest = if place == 0 { ranks.next_power_of_two() } else { place & place.wrapping_neg() };
    let bits = std::iter::successors(Some(lowest / 2), |bit| Some(bit / 2));
    let below = bits.take_while(|bit| *bit > 0).filter(|bit| place + bit < ranks);
    ((place > 0).then(|| rank_at(place - lowest)), below.map(|bit| rank_at(place + bit)).collect())
}

/// The root's bytes, at every rank, by their [`route`]. The others' own are not looked at.
///
/// # Errors
/// When a rank is lost.
pub fn broadcast(
    collective: &dyn Collective,
    root: usize,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, CollectiveError> {
    let (from, to) = route(collective, root);
    let bytes = from.map_or(Ok(bytes), |from| collective.receive(from))?;
    for to in to {
        collective.send(to, bytes.clone())?;
    }
    Ok(bytes)
}

/// Every rank's value, in order of ranks, at rank 0; `None` at the others.
///
/// # Errors
/// When a rank is lost, or its message is no such value.
pub fn gather<T: Serialize + DeserializeOwned>(
    collective: &dyn Collective,
    own: T,
) -> Result<Option<Vec<T>>, CollectiveError> {
    if collective.rank() > 0 {
        collective.send(0, to_bytes(&own))?;
        return Ok(None);
    }
    let mut all = vec![own];
    for rank in 1..collective.ranks() {
        all.push(from_bytes(rank, &collective.receive(rank)?)?);
    }
    Ok(Some(all))
}

/// Every rank's value, in order of ranks, at every rank.
///
/// # Errors
/// When a rank is lost, or its message is no such value.
pub fn share<T: Serialize + DeserializeOwned>(
    collective: &dyn Collective,
    own: T,
) -> Result<Vec<T>, CollectiveError> {
    if collective.ranks() == 1 {
        return Ok(vec![own]);
    }
    let all = gather(collective, own)?;
    let bytes = all.as_ref().map(to_bytes).unwrap_or_default();
    let bytes = broadcast(collective, 0, bytes)?;
    all.map_or_else(|| from_bytes(0, &bytes), Ok)
}

/// A value as it is sent.
///
/// # Panics
/// When it cannot be serialised.
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("messages are plain data");
    bytes
}

/// The value that was sent.
///
/// # Errors
/// When it is none.
pub fn from_bytes<T: DeserializeOwned>(rank: usize, bytes: &[u8]) -> Result<T, CollectiveError> {
    ciborium::from_reader(bytes)
        .map_err(|error| CollectiveError::Unexpected { rank, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OneProcess, Threads};

    /// What each of so many ranks comes to.
    fn at_each<T: Send>(ranks: usize, work: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let started: Vec<_> = Threads::new(ranks)
                .into_iter()
                .map(|own| scope.spawn(move || work(&own)))
                .collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        })
    }

    #[test]
    fn a_broadcast_reaches_every_rank_from_every_root() {
        for ranks in 1..=9 {
            for root in 0..ranks {
                let found =
                    at_each(ranks, |own| broadcast(own, root, vec![own.rank() as u8, 7]).unwrap());
                assert_eq!(found, vec![vec![root as u8, 7]; ranks], "{ranks} {root}");
            }
        }
    }

    #[test]
    fn gathered_values_are_in_order_of_ranks() {
        for ranks in 1..=5 {
            let wanted: Vec<(usize, f32)> = (0..ranks).map(|rank| (rank, 0.1)).collect();
            let found = at_each(ranks, |own| gather(own, (own.rank(), 0.1f32)).unwrap());
            assert_eq!(found[0].as_ref(), Some(&wanted));
            assert!(found[1..].iter().all(Option::is_none));
            let found = at_each(ranks, |own| share(own, (own.rank(), 0.1f32)).unwrap());
            assert_eq!(found, vec![wanted; ranks]);
        }
    }

    #[test]
    fn a_message_of_another_kind_names_its_sender() {
        let found = at_each(2, |own| match own.rank() {
            0 => gather(own, 1usize).err(),
            _ => gather(own, "text".to_owned()).err(),
        });
        let said = found[0].as_ref().unwrap().to_string();
        assert!(said.starts_with("the message of rank 1 is not what was expected"), "{said}");
    }

    #[test]
    fn values_arrive_with_all_their_bits() {
        let sent = [0.1f32, f32::MIN_POSITIVE / 3.0, -0.0, f32::NEG_INFINITY, f32::NAN];
        let found: Vec<f32> = from_bytes(0, &to_bytes(&sent.to_vec())).unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&sent));
        let sent = (u64::MAX, 0.1f64, f64::INFINITY);
        assert_eq!(from_bytes(0, &to_bytes(&sent)), Ok(sent));
    }

    #[test]
    fn one_process_sends_nothing() {
        assert_eq!(broadcast(&OneProcess, 0, vec![1]), Ok(vec![1]));
        assert_eq!(share(&OneProcess, 3), Ok(vec![3]));
        assert_eq!(gather(&OneProcess, 3), Ok(Some(vec![3])));
    }
}
