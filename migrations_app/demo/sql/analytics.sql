-- The second demo database: small, its names partly the same as in the shop on purpose.

CREATE TABLE public.web_events (
    day date NOT NULL,
    path text NOT NULL,
    visits integer NOT NULL,
    PRIMARY KEY (day, path)
);
CREATE TABLE public.funnels (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    steps text[] NOT NULL
);
CREATE TABLE public.conversions (
    id bigserial PRIMARY KEY,
    funnel_id integer NOT NULL REFERENCES public.funnels (id),
    at timestamp with time zone NOT NULL,
    revenue numeric(12, 2)
);
CREATE TABLE public.imports (
    started_at timestamp with time zone,
    file_name text
);

INSERT INTO public.web_events
SELECT date '2025-01-01' + d, '/page/' || p, (d * 31 + p * 17) % 900
FROM generate_series(0, 199) AS d, generate_series(1, 20) AS p;
INSERT INTO public.funnels (name, steps)
SELECT 'funnel ' || i, ARRAY['visit', 'cart', 'pay'] FROM generate_series(1, 12) AS i;
INSERT INTO public.conversions (funnel_id, at, revenue)
SELECT 1 + i % 12, '2025-04-01 00:00:00+00'::timestamptz + i * interval '5 minutes', (i % 900) / 3.0
FROM generate_series(1, 6000) AS i;
INSERT INTO public.imports
SELECT '2025-04-01 00:00:00+00'::timestamptz + i / 2 * interval '1 day', 'file ' || i / 2 FROM generate_series(1, 40) AS i;

CREATE VIEW public.visits_per_day AS SELECT day, sum(visits) AS visits FROM public.web_events GROUP BY day;
COMMENT ON TABLE public.funnels IS 'what visitors do';
