import { render } from "preact";
import { App } from "./app.tsx";
// Styles of views that are fetched later come with the page: fetching a module does not fetch its style.
import "uplot/dist/uPlot.min.css";
import "./style.css";

render(<App />, document.getElementById("page")!);
