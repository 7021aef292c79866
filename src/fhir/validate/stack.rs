//! A stack of what is cheap to copy, whose first items lie in it: a check that goes no deeper than usual allocates
//! nothing for it.
//!
//! `SmallVec` would do, but it fixes the lifetime of what it holds, and a check must pass for one of a shorter lifetime
//! where an expression asks it something.

#[derive(Clone)]
pub struct Stack<T, const N: usize> {
    few: [Option<T>; N],
    more: Vec<T>,
    len: usize,
}

impl<T: Copy, const N: usize> Stack<T, N> {
    pub fn new() -> Self {
        Stack { few: [None; N], more: Vec::new(), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn push(&mut self, item: T) {
        match self.few.get_mut(self.len) {
            Some(place) => *place = Some(item),
            None => self.more.push(item),
        }
        self.len += 1;
    }

    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        match self.few.get_mut(self.len) {
            Some(place) => place.take(),
            None => self.more.pop(),
        }
    }

    /// From the bottom.
    pub fn get(&self, at: usize) -> Option<T> {
        match self.few.get(at) {
            Some(place) => *place,
            None => self.more.get(at - N).copied(),
        }
    }

    /// The item that many places below the top.
    pub fn below(&self, places: usize) -> Option<T> {
        self.get(self.len.checked_sub(places + 1)?)
    }

    /// From the bottom up.
    pub fn iter(&self) -> impl Iterator<Item = T> + Clone {
        (0..self.len).filter_map(|at| self.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_more_than_fits_inside() {
        let mut stack: Stack<u32, 3> = Stack::new();
        for item in 0..7 {
            stack.push(item);
            assert_eq!((stack.len(), stack.below(0)), (item as usize + 1, Some(item)));
        }
        assert_eq!(stack.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((stack.below(5), stack.get(2), stack.get(7)), (Some(1), Some(2), None));
        for item in (0..7).rev() {
            assert_eq!(stack.pop(), Some(item));
        }
        assert_eq!((stack.pop(), stack.below(0), stack.len()), (None, None, 0));
    }
}
