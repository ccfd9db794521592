{# How many times the variance grows because a person has several deliveries, which are not independent: the
   cluster-robust variance over the independent one, from sums over a sample of persons with n trials and y successes.
   `sums` begins the names of an arm's columns: trials and successes, and yy, yn and nn, the sums of y * y, y * n and
   n * n. At least 1. #}
{% macro design_effect(sums) -%}
    {%- set p = rate_of(sums) -%}
    greatest(
            1,
            coalesce({{ residual_squares(sums) }} / nullif({{ sums }}trials * {{ p }} * (1 - {{ p }}), 0), 1)
        )
{%- endmacro %}


{# The same for the comparison of two arms, with the covariance of persons who are in both: `crossed` begins the columns
   yy, yn, ny and nn, sums of products of a person's count in the first arm and in the second. `share` in an arm's
   columns is that of all persons who are in its sample; samples are nested, so the smaller one holds the persons that
   are in both. #}
{% macro paired_design_effect(first, second, crossed) -%}
    {%- set p1, p0 = rate_of(first), rate_of(second) -%}
    greatest(
            1,
            coalesce(
                (
                    {{ first }}share * {{ residual_squares(first) }}
                    / nullif(cast({{ first }}successes as double) * {{ first }}successes, 0)
                    + {{ second }}share * {{ residual_squares(second) }}
                    / nullif(cast({{ second }}successes as double) * {{ second }}successes, 0)
                    - 2 * greatest({{ first }}share, {{ second }}share) * (
                        {{ crossed }}yy - {{ p1 }} * {{ crossed }}ny - {{ p0 }} * {{ crossed }}yn
                        + {{ p1 }} * {{ p0 }} * {{ crossed }}nn
                    ) / nullif(cast({{ first }}successes as double) * {{ second }}successes, 0)
                ) / nullif(
                    {{ first }}share * (1 - {{ p1 }}) / nullif({{ first }}successes, 0)
                    + {{ second }}share * (1 - {{ p0 }}) / nullif({{ second }}successes, 0),
                    0
                ),
                1
            )
        )
{%- endmacro %}


{% macro rate_of(sums) -%}
    (cast({{ sums }}successes as double) / nullif({{ sums }}trials, 0))
{%- endmacro %}


{# The sum over persons of (y - p * n) squared. #}
{% macro residual_squares(sums) -%}
    ({{ sums }}yy - 2 * {{ rate_of(sums) }} * {{ sums }}yn + {{ rate_of(sums) }} * {{ rate_of(sums) }} * {{ sums }}nn)
{%- endmacro %}
