// The button that turns the page dark or light; without it the page follows the system.
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = getComputedStyle(root).colorScheme === "dark" ? "light" : "dark";
  document.dispatchEvent(new Event("themechange"));
});
