// Before anything is painted: the colours that were chosen last. Not a module, so that it runs first.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("mmsearch-theme");
  } catch {
    // storage may be closed to us: then the system's colours are taken
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
