//! Two lists beside each other.

/// Items of two lists that belong together, with their place: in the old list, if it has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pair<'a, T> {
    Both(usize, &'a T, &'a T),
    Old(usize, &'a T),
    New(usize, &'a T),
}

/// What both lists begin with and what both end in belongs together, and what is between by its place: so one item that was
/// put in or taken out is one difference.
pub(super) fn align<'a, T: PartialEq>(old: &'a [T], new: &'a [T]) -> impl Iterator<Item = Pair<'a, T>> {
    let shorter = old.len().min(new.len());
    let same = old.len() == new.len();
    let start = if same { 0 } else { old.iter().zip(new).take_while(|(old, new)| old == new).count() };
    let rest = shorter - start;
    let end = if same {
        0
    } else {
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count()
    };
    let (old_middle, new_middle) = (old.len() - end, new.len() - end);
    let paired = shorter - end;
    let front = (0..paired).map(|at| Pair::Both(at, &old[at], &new[at]));
    let gone = (paired..old_middle).map(|at| Pair::Old(at, &old[at]));
    let come = (paired..new_middle).map(|at| Pair::New(at, &new[at]));
    let back = (0..end).map(move |at| Pair::Both(old_middle + at, &old[old_middle + at], &new[new_middle + at]));
    front.chain(gone).chain(come).chain(back)
}
