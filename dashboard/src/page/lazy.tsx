import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Waiting } from "./pieces.tsx";

/** A view whose code is fetched when somebody wants to see it. */
export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let loaded: ComponentType<P> | undefined;
  return function Lazy(properties: P) {
    const [, setReady] = useState(loaded !== undefined);
    const [error, setError] = useState<string | undefined>(undefined);
    useEffect(() => {
      if (loaded) return;
      load().then(
        (component) => {
          loaded = component;
          setReady(true);
        },
        (failure: Error) => setError(`This view could not be fetched: ${failure.message}`),
      );
    }, []);
    const View = loaded;
    return View ? <View {...properties} /> : <Waiting error={error} what="the view" />;
  };
}
