// Light, dark, or as the system has it.
import { byId, setIcon } from "./dom.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const LOOKS = { auto: ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

export function startTheme() {
  const button = byId("theme");
  let theme = document.documentElement.dataset.theme ?? "auto";
  const show = () => {
    const [icon, words] = LOOKS[theme];
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    setIcon(button, icon);
    button.querySelector(".hidden").textContent = `Colours: ${words}`;
    button.title = `Colours: ${words}`;
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      if (theme === "auto") localStorage.removeItem("mmsearch-theme");
      else localStorage.setItem("mmsearch-theme", theme);
    } catch {
      // not kept, then
    }
    show();
    dispatchEvent(new Event("themechange"));
  });
  show();
}
