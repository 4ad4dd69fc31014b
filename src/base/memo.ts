/**
 * Remembers a value for each object for as long as that lives.
 * @returns gives what is remembered of an object, which must not change, or else makes it
 */
export function rememberPer<K extends object, V>(): (key: K, make: () => V) => V {
  const known = new WeakMap<K, { readonly value: V }>();
  return (key, make) => {
    const before = known.get(key);
    if (before) return before.value;
    const value = make();
    known.set(key, { value });
    return value;
  };
}
