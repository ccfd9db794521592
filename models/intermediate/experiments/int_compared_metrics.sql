{{ config(materialized='view') }}

with

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

-- the owner's file may lack both columns
named as (

    select
        counts_as,
        max(good_when) as good_when,
        max(maturity_days) as maturity_days
    from catalogue
    group by counts_as

),

compared as (

    {%- for compared in compared_metrics() %}
    select
        '{{ compared.metric }}' as metric,
        '{{ compared.counts_as }}' as counts_as,
        '{{ compared.good_when }}' as good_when,
        cast({{ compared.maturity_days }} as {{ dbt.type_bigint() }}) as maturity_days
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}

),

final as (

    select
        compared.metric,
        compared.counts_as,
        coalesce(named.good_when, compared.good_when) as good_when,
        coalesce(named.maturity_days, compared.maturity_days) as maturity_days
    from compared
    left join named
        on compared.counts_as = named.counts_as

)

select * from final
